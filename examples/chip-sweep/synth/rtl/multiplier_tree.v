// Wallace-tree multiplier: rows of partial products go three to two until two are left, which a prefix adder adds.
module multiplier_tree #(
    parameter WIDTH = 8
) (
    input  [WIDTH-1:0]   a, b,
    output [2*WIDTH-1:0] product
);
  localparam BITS = 2 * WIDTH;

  // Rows that are left behind a number of levels.
  function integer rows_behind(input integer level);
    integer l;
    begin
      rows_behind = WIDTH;
      for (l = 0; l < level; l = l + 1) rows_behind = rows_behind - rows_behind / 3;
    end
  endfunction

  function integer levels_to_two(input integer unused);
    integer rows;
    begin
      rows = WIDTH;
      levels_to_two = 0;
      while (rows > 2) begin
        rows = rows - rows / 3;
        levels_to_two = levels_to_two + 1;
      end
    end
  endfunction

  localparam LEVELS = levels_to_two(0);
  wire [WIDTH*BITS-1:0] level[0:LEVELS];

  genvar l, i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin : partials
      assign level[0][i*BITS+:BITS] = {{WIDTH{1'b0}}, a & {WIDTH{b[i]}}} << i;
    end
    for (l = 0; l < LEVELS; l = l + 1) begin : levels
      localparam ROWS   = rows_behind(l);
      localparam TRIPLES = ROWS / 3;
      for (i = 0; i < TRIPLES; i = i + 1) begin : triples
        wire [BITS-1:0] x = level[l][(3*i)*BITS+:BITS];
        wire [BITS-1:0] y = level[l][(3*i+1)*BITS+:BITS];
        wire [BITS-1:0] z = level[l][(3*i+2)*BITS+:BITS];
        assign level[l+1][(2*i)*BITS+:BITS]   = x ^ y ^ z;
        assign level[l+1][(2*i+1)*BITS+:BITS] = (x & y | z & (x ^ y)) << 1;
      end
      for (i = 3 * TRIPLES; i < ROWS; i = i + 1) begin : rest
        assign level[l+1][(i-TRIPLES)*BITS+:BITS] = level[l][i*BITS+:BITS];
      end
    end
  endgenerate

  wire unused;
  adder_prefix #(.WIDTH(BITS)) last (
      .a(level[LEVELS][0+:BITS]), .b(level[LEVELS][BITS+:BITS]), .carry_in(1'b0),
      .sum(product), .carry_out(unused));
endmodule
