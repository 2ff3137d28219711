// Carry-select adder: each block adds for both carries, and the true carry selects. One multiplexer deep per block.
module adder_select #(
    parameter WIDTH = 16,
    parameter BLOCK = 4
) (
    input  [WIDTH-1:0] a, b,
    input              carry_in,
    output [WIDTH-1:0] sum,
    output             carry_out
);
  localparam BLOCKS = (WIDTH + BLOCK - 1) / BLOCK;
  wire [BLOCKS:0] carry;
  assign carry[0] = carry_in;
  assign carry_out = carry[BLOCKS];

  genvar i;
  generate
    for (i = 0; i < BLOCKS; i = i + 1) begin : blocks
      localparam LOW  = i * BLOCK;
      localparam SIZE = (WIDTH - LOW < BLOCK) ? WIDTH - LOW : BLOCK;
      if (i == 0) begin : first
        adder_ripple #(.WIDTH(SIZE)) add (
            .a(a[LOW+:SIZE]), .b(b[LOW+:SIZE]), .carry_in(carry[0]), .sum(sum[LOW+:SIZE]), .carry_out(carry[1]));
      end else begin : later
        wire [SIZE-1:0] sum_0, sum_1;
        wire carry_0, carry_1;
        adder_ripple #(.WIDTH(SIZE)) add_0 (
            .a(a[LOW+:SIZE]), .b(b[LOW+:SIZE]), .carry_in(1'b0), .sum(sum_0), .carry_out(carry_0));
        adder_ripple #(.WIDTH(SIZE)) add_1 (
            .a(a[LOW+:SIZE]), .b(b[LOW+:SIZE]), .carry_in(1'b1), .sum(sum_1), .carry_out(carry_1));
        // Not `?:`: synthesis would move a multiplexer to the adders' inputs, and one adder would be left.
        assign sum[LOW+:SIZE] = sum_1 & {SIZE{carry[i]}} | sum_0 & ~{SIZE{carry[i]}};
        assign carry[i+1]     = carry_0 | carry_1 & carry[i];
      end
    end
  endgenerate
endmodule
