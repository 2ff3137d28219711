// FIR low-pass with a triangular window. Direct form adds all taps in one clock; transposed has a register between.
module fir #(
    parameter WIDTH = 8,
    parameter TAPS = 8,
    parameter TRANSPOSED = 0
) (
    input                       clock, enable,
    input signed    [WIDTH-1:0] sample,
    output reg signed [OUT-1:0] filtered
);
  localparam OUT = WIDTH + 2 * $clog2(TAPS + 1);

  // 1, 3, 5 … 5, 3, 1
  function integer coefficient(input integer tap);
    coefficient = 2 * (tap < TAPS - 1 - tap ? tap : TAPS - 1 - tap) + 1;
  endfunction

  genvar i;
  generate
    if (TRANSPOSED) begin : transposed
      wire signed [OUT-1:0] partial[0:TAPS];
      assign partial[TAPS] = 0;
      for (i = 0; i < TAPS; i = i + 1) begin : taps
        reg signed [OUT-1:0] sum;
        always @(posedge clock) if (enable) sum <= partial[i+1] + sample * coefficient(i);
        assign partial[i] = sum;
      end
      always @(*) filtered = partial[0];
    end else begin : direct
      wire signed [WIDTH-1:0] delayed[0:TAPS-1];
      wire signed [OUT-1:0]   sum    [0:TAPS];
      assign delayed[0] = sample;
      assign sum[0]     = 0;
      for (i = 0; i < TAPS; i = i + 1) begin : taps
        assign sum[i+1] = sum[i] + delayed[i] * coefficient(i);
        if (i > 0) begin : delay
          reg signed [WIDTH-1:0] past;
          always @(posedge clock) if (enable) past <= delayed[i-1];
          assign delayed[i] = past;
        end
      end
      always @(posedge clock) if (enable) filtered <= sum[TAPS];
    end
  endgenerate
endmodule
