// By hand, for the tests of the test benches. Two 4-bit channels in; conv1 is a 1x1 convolution with weights
// [[1, -2], [3, 1], [0, 0]] and bias [1, 0, -3]; relu1 is clip((x + half) >> s, 0, 15), s = 1, 2, 0.
// Digest of the network: DIGEST
`timescale 1ns/1ps

module pixels(input clk, input rst, input [7:0] i__payload, input i__valid, output i__ready, input last,
              output [7:0] o__payload, output o__valid, input o__ready, output frame_error);
    reg [3:0] count = 0;
    reg error = 0;
    assign o__payload = i__payload;
    assign o__valid = i__valid;
    assign i__ready = o__ready;
    assign frame_error = error;
    always @(posedge clk)
        if (rst) begin count <= 0; error <= 0; end
        else if (i__valid & i__ready) begin
            count <= count == 11 ? 0 : count + 1;
            if (last != (count == 11)) error <= 1;
        end
endmodule

module conv1(input clk, input rst, input [7:0] i__payload, input i__valid, output i__ready,
             output [17:0] o__payload, output o__valid, input o__ready);
    reg full = 0;
    reg [17:0] sums = 0;
    wire signed [6:0] a = {3'b0, i__payload[3:0]};
    wire signed [6:0] b = {3'b0, i__payload[7:4]};
    wire signed [6:0] y0 = a - (b <<< 1) + 7'sd1;
    wire signed [6:0] y1 = a + (a <<< 1) + b;
    wire signed [3:0] y2 = -4'sd3;
    assign i__ready = ~full | o__ready;
    assign o__valid = full;
    assign o__payload = sums;
    always @(posedge clk)
        if (rst) full <= 0;
        else if (i__ready) begin
            full <= i__valid;
            sums <= {y2, y1, y0};
        end
endmodule

module relu1(input clk, input rst, input [17:0] i__payload, input i__valid, output i__ready,
             output [11:0] o__payload, output o__valid, input o__ready);
    reg full = 0;
    reg [11:0] codes = 0;
    wire signed [7:0] r0 = ($signed(i__payload[6:0]) + 8'sd1) >>> 1;
    wire signed [7:0] r1 = ($signed(i__payload[13:7]) + 8'sd2) >>> 2;
    wire signed [7:0] r2 = $signed(i__payload[17:14]);
    wire [3:0] c0 = r0 < 0 ? 4'd0 : r0 > 15 ? 4'd15 : r0[3:0];
    wire [3:0] c1 = r1 < 0 ? 4'd0 : r1 > 15 ? 4'd15 : r1[3:0];
    wire [3:0] c2 = r2 < 0 ? 4'd0 : r2 > 15 ? 4'd15 : r2[3:0];
    assign i__ready = ~full | o__ready;
    assign o__valid = full;
    assign o__payload = codes;
    always @(posedge clk)
        if (rst) full <= 0;
        else if (i__ready) begin
            full <= i__valid;
            codes <= {c2, c1, c0};
        end
endmodule

module top(input clk, input rst, input [7:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready,
           input s_axis_tlast, output [15:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready,
           output m_axis_tlast, output frame_error);
    wire [7:0] a;
    wire [17:0] b;
    wire [11:0] c;
    wire a_valid, a_ready, b_valid, b_ready;
    reg [3:0] count = 0;
    pixels pixels(.clk(clk), .rst(rst), .i__payload(s_axis_tdata), .i__valid(s_axis_tvalid),
                  .i__ready(s_axis_tready), .last(s_axis_tlast), .o__payload(a), .o__valid(a_valid),
                  .o__ready(a_ready), .frame_error(frame_error));
    conv1 conv1(.clk(clk), .rst(rst), .i__payload(a), .i__valid(a_valid), .i__ready(a_ready),
                .o__payload(b), .o__valid(b_valid), .o__ready(b_ready));
    relu1 relu1(.clk(clk), .rst(rst), .i__payload(b), .i__valid(b_valid), .i__ready(b_ready),
                .o__payload(c), .o__valid(m_axis_tvalid), .o__ready(m_axis_tready));
    assign m_axis_tdata = {4'd0, c};
    assign m_axis_tlast = count == 11;
    always @(posedge clk)
        if (rst) count <= 0;
        else if (m_axis_tvalid & m_axis_tready) count <= count == 11 ? 0 : count + 1;
endmodule
