// UART with a transmitter and a receiver, one stop bit. A bit lasts `divider` + 1 clocks.
module uart #(
    parameter DATA_BITS = 8,
    parameter DIVIDER_BITS = 16,
    parameter PARITY = 0  // 1: an even parity bit behind the data
) (
    input                        clock, reset,
    input     [DIVIDER_BITS-1:0] divider,
    input                        send,
    input        [DATA_BITS-1:0] send_data,
    output                       send_ready,
    output                       tx,
    input                        rx,
    output reg   [DATA_BITS-1:0] received_data,
    output reg                   received, error
);
  localparam BITS  = DATA_BITS + PARITY;  // between the start bit and the stop bit
  localparam COUNT = $clog2(BITS + 3);

  // The transmitter shifts out start bit, data, parity and stop bit, the lowest first.
  reg [BITS+1:0] out;
  reg [DIVIDER_BITS-1:0] out_clock;
  reg [COUNT-1:0] out_left;
  assign send_ready = out_left == 0;
  assign tx = send_ready || out[0];

  wire [BITS-1:0] out_bits;
  generate
    if (PARITY) assign out_bits = {^send_data, send_data};
    else assign out_bits = send_data;
  endgenerate

  always @(posedge clock) begin
    if (reset) out_left <= 0;
    else if (send_ready) begin
      out       <= {1'b1, out_bits, 1'b0};
      out_clock <= divider;
      if (send) out_left <= BITS + 2;
    end else if (out_clock != 0) out_clock <= out_clock - 1;
    else begin
      out       <= {1'b1, out[BITS+1:1]};
      out_clock <= divider;
      out_left  <= out_left - 1;
    end
  end

  // The receiver waits for the start bit's edge, then looks into the middle of each bit.
  reg [1:0] rx_steady;
  reg [BITS:0] in;
  reg [DIVIDER_BITS-1:0] in_clock;
  reg [COUNT-1:0] in_left;
  wire in_parity_wrong = PARITY != 0 && ^in[BITS:1];

  always @(posedge clock) begin
    rx_steady <= {rx_steady[0], rx};
    received  <= 0;
    if (reset) begin
      rx_steady <= 2'b11;
      in_left   <= 0;
      error     <= 0;
    end else if (in_left == 0) begin
      in_clock <= divider >> 1;
      if (!rx_steady[1]) in_left <= BITS + 2;
    end else if (in_clock != 0) in_clock <= in_clock - 1;
    else begin
      in_clock <= divider;
      in_left  <= in_left - 1;
      in       <= {rx_steady[1], in[BITS:1]};
      // No start bit after all: a disturbance.
      if (in_left == BITS + 2 && rx_steady[1]) in_left <= 0;
      if (in_left == 1) begin
        received_data <= in[DATA_BITS:1];
        received      <= 1;
        error         <= !rx_steady[1] || in_parity_wrong;
      end
    end
  end
endmodule
