// Ripple-carry adder: the smallest, and as deep as it is wide.
module adder_ripple #(
    parameter WIDTH = 16
) (
    input  [WIDTH-1:0] a, b,
    input              carry_in,
    output [WIDTH-1:0] sum,
    output             carry_out
);
  wire [WIDTH:0] carry;
  assign carry[0] = carry_in;
  assign carry_out = carry[WIDTH];

  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin : bits
      assign sum[i]     = a[i] ^ b[i] ^ carry[i];
      assign carry[i+1] = a[i] & b[i] | carry[i] & (a[i] ^ b[i]);
    end
  endgenerate
endmodule
