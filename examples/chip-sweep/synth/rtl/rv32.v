// A RISC-V core that runs one instruction a clock: RV32I, or RV32E with 16 registers; `mul` where MULTIPLY is 1.
// Instructions and data come from outside in the same clock. No interrupts, no CSRs: `fence` does nothing, `ecall`,
// `ebreak`, whatever is unknown and what is misaligned stop the core.
module rv32 #(
    parameter REGISTERS = 32,
    parameter MULTIPLY = 0
) (
    input             clock, reset,
    output     [31:0] fetch_address,
    input      [31:0] instruction,
    output     [31:0] data_address, store_data,
    output      [3:0] store_bytes,
    input      [31:0] load_data,
    output reg        stopped
);
  localparam INDEX = $clog2(REGISTERS);
  reg [31:0] pc;
  reg [31:0] registers[1:REGISTERS-1];
  assign fetch_address = pc;

  // Decode.
  wire [4:0] opcode = instruction[6:2];
  wire [2:0] funct3 = instruction[14:12];
  wire [6:0] funct7 = instruction[31:25];
  wire [4:0] rd = instruction[11:7], rs1 = instruction[19:15], rs2 = instruction[24:20];
  wire is_lui    = opcode == 5'b01101;
  wire is_auipc  = opcode == 5'b00101;
  wire is_jal    = opcode == 5'b11011;
  wire is_jalr   = opcode == 5'b11001 && funct3 == 0;
  wire is_branch = opcode == 5'b11000 && funct3[2:1] != 2'b01;
  wire is_load   = opcode == 5'b00000 && funct3 != 3 && funct3[2:1] != 2'b11;
  wire is_store  = opcode == 5'b01000 && funct3 < 3;
  wire is_fence  = opcode == 5'b00011;
  wire is_shift  = funct3[1:0] == 2'b01;
  wire is_plain  = funct7 == 0 || (funct7 == 7'h20 && (funct3 == 0 || funct3 == 5));
  wire is_immediate = opcode == 5'b00100 && (!is_shift || is_plain);
  wire is_multiply  = MULTIPLY != 0 && opcode == 5'b01100 && funct7 == 1 && funct3 == 0;
  wire is_register  = opcode == 5'b01100 && is_plain;

  wire [31:0] immediate_i = {{20{instruction[31]}}, instruction[31:20]};
  wire [31:0] immediate_s = {{20{instruction[31]}}, instruction[31:25], instruction[11:7]};
  wire [31:0] immediate_b = {{20{instruction[31]}}, instruction[7], instruction[30:25], instruction[11:8], 1'b0};
  wire [31:0] immediate_u = {instruction[31:12], 12'b0};
  wire [31:0] immediate_j = {{12{instruction[31]}}, instruction[19:12], instruction[20], instruction[30:21], 1'b0};

  // Execute.
  wire [31:0] x = rs1[INDEX-1:0] == 0 ? 0 : registers[rs1[INDEX-1:0]];
  wire [31:0] y = rs2[INDEX-1:0] == 0 ? 0 : registers[rs2[INDEX-1:0]];
  wire [31:0] operand = is_immediate ? immediate_i : y;
  wire subtracts = is_branch || funct3 != 0 || is_register && funct7[5];
  wire [32:0] sum = {1'b0, x} + {1'b0, operand ^ {32{subtracts}}} + {32'b0, subtracts};
  wire below        = !sum[32];
  wire below_signed = x[31] != operand[31] ? x[31] : sum[31];
  wire equal        = x == y;
  wire [31:0] shifted_right = $signed({funct7[5] & x[31], x}) >>> operand[4:0];

  reg [31:0] result;
  always @(*)
    case (funct3)
      0: result = sum[31:0];
      1: result = x << operand[4:0];
      2: result = {31'b0, below_signed};
      3: result = {31'b0, below};
      4: result = x ^ operand;
      5: result = shifted_right;
      6: result = x | operand;
      7: result = x & operand;
    endcase

  wire taken = is_branch && funct3[0] ^ (!funct3[2] ? equal : funct3[1] ? below : below_signed);
  wire [31:0] next_pc = pc + 4;
  wire [31:0] target = (is_jalr ? x : pc) + (is_jalr ? immediate_i : is_jal ? immediate_j : is_auipc ? immediate_u : immediate_b);
  wire jumps = is_jal || is_jalr || taken;

  // Memory.
  assign data_address = x + (is_store ? immediate_s : immediate_i);
  wire [1:0] lane = data_address[1:0];
  wire misaligned = (is_load || is_store) && (funct3[1] ? lane != 0 : funct3[0] && lane[0])
                 || jumps && target[1];
  wire [3:0] size = funct3[1] ? 4'b1111 : funct3[0] ? 4'b0011 : 4'b0001;
  assign store_bytes = is_store && !halts ? size << lane : 0;
  assign store_data  = y << {lane, 3'b0};
  wire [31:0] lanes  = load_data >> {lane, 3'b0};
  wire sign = !funct3[2] && (funct3[0] ? lanes[15] : lanes[7]);
  wire [31:0] loaded = funct3[1] ? lanes : funct3[0] ? {{16{sign}}, lanes[15:0]} : {{24{sign}}, lanes[7:0]};

  // Write back.
  wire known = instruction[1:0] == 2'b11 && (is_lui || is_auipc || is_jal || is_jalr || is_branch || is_load
             || is_store || is_fence || is_immediate || is_register || is_multiply);
  wire halts = stopped || reset || !known || misaligned;
  wire writes = !(is_branch || is_store || is_fence) && !halts && rd[INDEX-1:0] != 0;
  wire [31:0] product = MULTIPLY != 0 ? x * y : 0;
  wire [31:0] value = is_lui ? immediate_u
                    : is_auipc ? target
                    : is_jal || is_jalr ? next_pc
                    : is_load ? loaded
                    : is_multiply ? product
                    : result;

  always @(posedge clock) begin
    if (writes) registers[rd[INDEX-1:0]] <= value;
    if (reset) begin
      pc      <= 0;
      stopped <= 0;
    end else if (halts) stopped <= 1;
    else pc <= jumps ? {target[31:1], 1'b0} : next_pc;
  end
endmodule
