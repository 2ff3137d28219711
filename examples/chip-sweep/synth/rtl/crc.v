// CRC over BITS bits a clock, most significant first: CRC-8, CRC-16/CCITT or CRC-32, by WIDTH.
module crc #(
    parameter WIDTH = 32,
    parameter BITS = 8
) (
    input                  clock, reset, enable,
    input       [BITS-1:0] data,
    output reg [WIDTH-1:0] value
);
  localparam [WIDTH-1:0] POLYNOMIAL = WIDTH == 8 ? 8'h07 : WIDTH == 16 ? 16'h1021 : 32'h04c11db7;

  function [WIDTH-1:0] next(input [WIDTH-1:0] state, input [BITS-1:0] bits);
    integer i;
    begin
      next = state;
      for (i = BITS - 1; i >= 0; i = i - 1)
        next = {next[WIDTH-2:0], 1'b0} ^ (POLYNOMIAL & {WIDTH{next[WIDTH-1] ^ bits[i]}});
    end
  endfunction

  always @(posedge clock)
    if (reset) value <= {WIDTH{1'b1}};
    else if (enable) value <= next(value, data);
endmodule
