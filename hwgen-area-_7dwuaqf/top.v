`timescale 1ns/1ps

module top(entry, digit, activate, wrap, lo, hi, clk, rst, total, code, acc);
  input [127:0] entry;
  wire [127:0] entry;
  input [1:0] digit;
  wire [1:0] digit;
  input activate;
  wire activate;
  input wrap;
  wire wrap;
  input signed [16:0] lo;
  wire signed [16:0] lo;
  input signed [16:0] hi;
  wire signed [16:0] hi;
  input clk;
  wire clk;
  input rst;
  wire rst;
  output signed [31:0] total;
  reg signed [31:0] total = 32'd0;
  output [7:0] code;
  reg [7:0] code = 8'h00;
  input signed [23:0] acc;
  wire signed [23:0] acc;
  wire [31:0] _00_;
  wire _01_;
  wire _02_;
  wire _03_;
  wire [16:0] _04_;
  wire [78:0] _05_;
  wire [46:0] _06_;
  wire [46:0] _07_;
  wire [32:0] _08_;
  wire [31:0] _09_;
  wire [31:0] _10_;
  wire _11_;
  wire [31:0] _12_;
  wire [32:0] _13_;
  wire [33:0] _14_;
  wire [31:0] _15_;
  wire [7:0] _16_;
  reg [5:0] amount_0 = 6'h00;
  reg [5:0] amount_1 = 6'h00;
  reg [5:0] amount_2 = 6'h00;
  reg [5:0] amount_3 = 6'h00;
  reg [2:0] amount_rest = 3'h0;
  reg signed [31:0] based = 32'd0;
  reg signed [31:0] bias = 32'd0;
  reg signed [31:0] biased = 32'd0;
  reg signed [31:0] coarse = 32'd0;
  reg signed [31:0] fine = 32'd0;
  reg first_0 = 1'h0;
  reg first_1 = 1'h0;
  reg first_2 = 1'h0;
  reg signed [31:0] held_offset = 32'd0;
  wire high;
  wire low;
  reg minus = 1'h0;
  reg negative_0 = 1'h0;
  reg negative_1 = 1'h0;
  reg signed [31:0] offset_0 = 32'd0;
  reg signed [31:0] offset_1 = 32'd0;
  wire signed [47:0] offset_in;
  reg signed [31:0] product = 32'd0;
  wire signed [31:0] shifted;
  reg [3:0] up_0 = 4'h0;
  reg [3:0] up_1 = 4'h0;
  reg zero_0 = 1'h0;
  reg zero_1 = 1'h0;
  assign _08_ = $signed(based) + $signed(bias);
  assign _09_ = ~ shifted;
  assign _10_ = negative_1 ? _09_ : shifted;
  assign _11_ = ! digit;
  assign _12_ = first_2 ? held_offset : total;
  assign _13_ = $signed(_12_) + $signed(product);
  assign _14_ = $signed(_13_) + $signed({ 1'h0, minus });
  assign _15_ = $signed(total) >>> amount_3[2:0];
  assign _00_ = $signed(fine) >>> { amount_rest, 3'h0 };
  assign _01_ = low | high;
  assign _02_ = ~ _01_;
  assign _03_ = wrap | _02_;
  assign _04_ = low ? lo : hi;
  assign { _05_[78:48], offset_in } = { 47'h000000000000, entry[63:32] } | { 31'h00000000, entry[79:64], 32'h00000000 };
  assign _06_ = $signed(biased) << up_1;
  assign { _07_[46:32], shifted } = zero_1 ? 47'h000000000000 : _06_;
  assign low = $signed(coarse) < $signed(lo);
  assign high = $signed(coarse) > $signed(hi);
  always @(posedge clk)
    based <= { acc[23], acc[23], acc[23], acc[23], acc[23], acc[23], acc[23], acc[23], acc };
  always @(posedge clk)
    bias <= entry[31:0];
  always @(posedge clk)
    biased <= _08_[31:0];
  always @(posedge clk)
    offset_0 <= offset_in[31:0];
  always @(posedge clk)
    offset_1 <= offset_0;
  always @(posedge clk)
    up_0 <= entry[83:80];
  always @(posedge clk)
    up_1 <= up_0;
  always @(posedge clk)
    negative_0 <= entry[86];
  always @(posedge clk)
    negative_1 <= negative_0;
  always @(posedge clk)
    zero_0 <= entry[87];
  always @(posedge clk)
    zero_1 <= zero_0;
  always @(posedge clk)
    product <= _10_;
  always @(posedge clk)
    minus <= negative_1;
  always @(posedge clk)
    held_offset <= offset_1;
  always @(posedge clk)
    first_0 <= _11_;
  always @(posedge clk)
    first_1 <= first_0;
  always @(posedge clk)
    first_2 <= first_1;
  always @(posedge clk)
    amount_0 <= entry[93:88];
  always @(posedge clk)
    amount_1 <= amount_0;
  always @(posedge clk)
    amount_2 <= amount_1;
  always @(posedge clk)
    amount_3 <= amount_2;
  always @(posedge clk)
    fine <= _15_;
  always @(posedge clk)
    amount_rest <= amount_3[5:3];
  always @(posedge clk)
    coarse <= _00_;
  always @(posedge clk)
    if (rst) total <= 32'd0;
    else total <= _14_[31:0];
  always @(posedge clk)
    if (rst) code <= 8'h00;
    else code <= _16_;
  assign _16_ = _03_ ? coarse[7:0] : _04_[7:0];
  assign _05_[47:0] = offset_in;
  assign _07_[31:0] = shifted;
endmodule
