// A four-bit ripple-carry adder, mapped to gates.
module full_adder (input a, input b, input cin, output sum, output cout);
  wire p, g, t;
  XOR2 u_p (.A(a), .B(b), .Y(p));
  XOR2 u_s (.A(p), .B(cin), .Y(sum));
  AND2 u_g (.A(a), .B(b), .Y(g));
  AND2 u_t (.A(p), .B(cin), .Y(t));
  OR2  u_c (.A(g), .B(t), .Y(cout));
endmodule

module adder4 (input [3:0] a, input [3:0] b, output [3:0] sum, output cout);
  wire [2:0] carry;
  full_adder bit0 (.a(a[0]), .b(b[0]), .cin(1'b0),     .sum(sum[0]), .cout(carry[0]));
  full_adder bit1 (.a(a[1]), .b(b[1]), .cin(carry[0]), .sum(sum[1]), .cout(carry[1]));
  full_adder bit2 (.a(a[2]), .b(b[2]), .cin(carry[1]), .sum(sum[2]), .cout(carry[2]));
  full_adder bit3 (.a(a[3]), .b(b[3]), .cin(carry[2]), .sum(sum[3]), .cout(cout));
endmodule
