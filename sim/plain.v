// A test bench that needs a Verilog simulator and nothing else: it sends the images of stimulus.hex through
// the design and compares every result with expected.hex, both beside it or in +dir=FOLDER.
// +pause=N pauses input and output at random, N of 256 cycles; +seed=N. Ends with a line PASS, or with
// FAIL and an exit code that is not 0.
//
//   iverilog -g2012 -o top_tb.vvp top_tb.v ../top.v && vvp top_tb.vvp
//   verilator --binary --timing -Wno-fatal -Wno-lint --top top_tb top_tb.v ../top.v && obj_dir/Vtop_tb
`timescale 1ns/1ps

module top_tb;
    @SIZES@

    reg clk = 0, rst = 1;
    reg [IN_BITS-1:0] stimulus [0:IMAGES*IN_BEATS-1];
    reg [OUT_BITS-1:0] expected [0:IMAGES*OUT_BEATS-1];
    reg [IN_BITS-1:0] tdata = 0;
    reg tvalid = 0, tlast = 0, tready = 0;
    wire s_tready, m_tvalid, m_tlast, frame_error;
    wire [OUT_BITS-1:0] m_tdata;
    integer sent = 0, got = 0, quiet = 0, pause = 0, seed = 1, wrong = 0;
    reg [31:0] random_in = 32'h9e3779b9, random_out = 32'h7f4a7c15;
    reg [8*1024-1:0] dir;
    reg [8*1088-1:0] name;

    top dut(.clk(clk), .rst(rst),
            .s_axis_tdata(tdata), .s_axis_tvalid(tvalid), .s_axis_tready(s_tready), .s_axis_tlast(tlast),
            .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid), .m_axis_tready(tready),
            .m_axis_tlast(m_tlast), .frame_error(frame_error));

    always #5 clk = !clk;

    // Marsaglia's xorshift with the triple (13, 17, 5).
    function [31:0] next(input [31:0] state);
        reg [31:0] x;
        begin
            x = state ^ (state << 13);
            x = x ^ (x >> 17);
            next = x ^ (x << 5);
        end
    endfunction

    initial begin
        if (!$value$plusargs("dir=%s", dir)) dir = ".";
        $sformat(name, "%0s/stimulus.hex", dir);
        $readmemh(name, stimulus);
        $sformat(name, "%0s/expected.hex", dir);
        $readmemh(name, expected);
        if ($value$plusargs("pause=%d", pause)) begin end
        if ($value$plusargs("seed=%d", seed)) begin end
        random_in = random_in ^ seed;
        random_out = random_out ^ seed;
        if (^stimulus[IMAGES*IN_BEATS-1] === 1'bx || ^expected[IMAGES*OUT_BEATS-1] === 1'bx) begin
            $display("FAIL: stimulus.hex and expected.hex of %0d images needed in %0s", IMAGES, dir);
            $fatal(1);
        end
        repeat (4) @(negedge clk);
        rst = 0;
    end

    // Everything is driven at the falling edge and looked at just before the rising one.
    always @(negedge clk) if (!rst) begin
        random_in = next(random_in);
        random_out = next(random_out);
        if (!tvalid && sent < IMAGES*IN_BEATS && random_in[7:0] >= pause) begin
            tdata = stimulus[sent];
            tlast = sent % IN_BEATS == IN_BEATS - 1;
            tvalid = 1;
        end
        tready = random_out[7:0] >= pause;
    end

    always @(posedge clk) if (!rst) begin
        quiet = quiet + 1;
        if (m_tvalid && tready) begin
            quiet = 0;
            if (got < IMAGES*OUT_BEATS && (m_tdata !== expected[got] ||
                                           m_tlast !== (got % OUT_BEATS == OUT_BEATS - 1))) begin
                if (wrong == 0)
                    $display("FAIL: image %0d, beat %0d: expected %h, got %h, tlast %b", got / OUT_BEATS,
                             got % OUT_BEATS, expected[got], m_tdata, m_tlast);
                wrong = wrong + 1;
            end
            got = got + 1;
        end
        if (tvalid && s_tready) begin
            quiet = 0;
            sent = sent + 1;
        end
        if (quiet == (got >= IMAGES*OUT_BEATS ? GRACE : PATIENCE)) begin
            if (got == IMAGES*OUT_BEATS && wrong == 0 && frame_error === 0) begin
                $display("PASS: %0d images, %0d results equal", IMAGES, got);
                $finish;
            end else begin
                $display("FAIL: %0d of %0d results came, %0d differ, frame_error %b", got,
                         IMAGES*OUT_BEATS, wrong, frame_error);
                $fatal(1);
            end
        end
    end

    // A taken beat leaves after the edge, so that the design saw it.
    always @(posedge clk) if (tvalid && s_tready) tvalid <= 0;
endmodule
