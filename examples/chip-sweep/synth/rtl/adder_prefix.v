// Parallel-prefix adder: logarithmic depth. Brent-Kung has the fewest cells, Kogge-Stone the fewest levels.
module adder_prefix #(
    parameter WIDTH = 16,
    parameter KOGGE_STONE = 0
) (
    input  [WIDTH-1:0] a, b,
    input              carry_in,
    output [WIDTH-1:0] sum,
    output             carry_out
);
  localparam LOG    = $clog2(WIDTH);
  localparam LEVELS = KOGGE_STONE ? LOG : (LOG > 0 ? 2 * LOG - 1 : 0);

  // Row l holds what is known behind l levels: bits (i down to some j) generate, or propagate, a carry.
  wire [WIDTH-1:0] g[0:LEVELS];
  wire [WIDTH-1:0] p[0:LEVELS];
  wire [WIDTH-1:0] half = a ^ b;
  assign p[0] = half;
  assign g[0] = a & b | {{(WIDTH - 1) {1'b0}}, half[0] & carry_in};

  genvar l, i;
  generate
    for (l = 0; l < LEVELS; l = l + 1) begin : levels
      // Brent-Kung goes up the tree, then fills in on the way down.
      localparam UP   = KOGGE_STONE || l < LOG;
      localparam STEP = UP ? 32'd1 << l : 32'd1 << (LEVELS - 1 - l);
      for (i = 0; i < WIDTH; i = i + 1) begin : bits
        localparam JOINS = i >= STEP && (KOGGE_STONE ? 1
                         : UP ? (i + 1) % (32'd2 * STEP) == 0
                         : (i + 1) % (32'd2 * STEP) == STEP);
        if (JOINS) begin : joined
          assign g[l+1][i] = g[l][i] | p[l][i] & g[l][i-STEP];
          assign p[l+1][i] = p[l][i] & p[l][i-STEP];
        end else begin : pass
          assign g[l+1][i] = g[l][i];
          assign p[l+1][i] = p[l][i];
        end
      end
    end
  endgenerate

  wire [WIDTH:0] carry = {g[LEVELS], carry_in};
  assign sum = half ^ carry[WIDTH-1:0];
  assign carry_out = carry[WIDTH];
endmodule
