// Yosys mapping rules: an adder or a subtraction becomes one ALU cell, hence one carry chain,
// before Yosys looks for chains of additions that it would join into carry-save logic.

(* techmap_celltype = "$add $sub" *)
module hwgen_adder (A, B, Y);
  parameter _TECHMAP_CELLTYPE_ = "";
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;

  localparam SUBTRACT = _TECHMAP_CELLTYPE_ == "$sub";
  localparam SIGNED = A_SIGNED && B_SIGNED;
  wire [Y_WIDTH-1:0] propagate, carry;

  \$alu #(
    .A_SIGNED(SIGNED), .B_SIGNED(SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)
  ) _TECHMAP_REPLACE_ (
    .A(A), .B(B), .BI(SUBTRACT), .CI(SUBTRACT), .X(propagate), .Y(Y), .CO(carry)
  );
endmodule
