// Synchronous FIFO of DEPTH words; DEPTH need be no power of two. The word to be read next is always shown.
module fifo #(
    parameter WIDTH = 8,
    parameter DEPTH = 8
) (
    input                  clock, reset,
    input                  write, read,
    input      [WIDTH-1:0] data_in,
    output     [WIDTH-1:0] data_out,
    output                 full, empty,
    output reg [$clog2(DEPTH+1)-1:0] count
);
  localparam POINTER = DEPTH > 1 ? $clog2(DEPTH) : 1;
  reg [WIDTH-1:0] words[0:DEPTH-1];
  reg [POINTER-1:0] head, tail;

  assign full     = count == DEPTH;
  assign empty    = count == 0;
  assign data_out = words[head];
  wire put  = write && !full;
  wire take = read && !empty;

  always @(posedge clock) begin
    if (put) words[tail] <= data_in;
    if (reset) begin
      head  <= 0;
      tail  <= 0;
      count <= 0;
    end else begin
      if (put) tail <= tail == DEPTH - 1 ? 0 : tail + 1;
      if (take) head <= head == DEPTH - 1 ? 0 : head + 1;
      if (put != take) count <= put ? count + 1 : count - 1;
    end
  end
endmodule
