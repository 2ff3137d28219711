// Array multiplier: a row of carry-save adders for each bit of b, then a ripple-carry adder. Regular, and deep.
module multiplier_array #(
    parameter WIDTH = 8
) (
    input  [WIDTH-1:0]   a, b,
    output [2*WIDTH-1:0] product
);
  // Behind row i: the upper bits as a sum and a carry; the lowest bit of each row is done.
  wire [WIDTH-1:0] sum  [0:WIDTH-1];
  wire [WIDTH-1:0] carry[0:WIDTH-1];
  assign sum[0]   = a & {WIDTH{b[0]}};
  assign carry[0] = {WIDTH{1'b0}};
  assign product[0] = sum[0][0];

  genvar i;
  generate
    for (i = 1; i < WIDTH; i = i + 1) begin : rows
      wire [WIDTH-1:0] partial = a & {WIDTH{b[i]}};
      wire [WIDTH-1:0] above   = {1'b0, sum[i-1][WIDTH-1:1]};
      assign sum[i]     = partial ^ above ^ carry[i-1];
      assign carry[i]   = partial & above | carry[i-1] & (partial ^ above);
      assign product[i] = sum[i][0];
    end
  endgenerate

  wire unused;
  adder_ripple #(.WIDTH(WIDTH)) last (
      .a({1'b0, sum[WIDTH-1][WIDTH-1:1]}), .b(carry[WIDTH-1]), .carry_in(1'b0),
      .sum(product[2*WIDTH-1:WIDTH]), .carry_out(unused));
endmodule
