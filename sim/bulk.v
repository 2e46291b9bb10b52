// Around a generated top: sends a file of beats and writes down every result, at the simulator's own speed.
//
// Plusargs: stim, file of IN_BITS / 8 bytes a beat, most significant first; result, file to write, a line
// "cycle tlast tdata" (hexadecimal) for each result; beats of an image, total, beats to send, wanted,
// results to wait for; patience, cycles without progress after which it gives up; grace, cycles that it goes on
// afterwards, to see results that should not be; gaps and stalls, how often an input or output pauses, in
// 1/256; hold, cycles for which the output pauses at first, and now and then; seed. At the end a line
// "end cycle first taken breaches frame_error stuck", first being the cycle in which the first beat was taken.
// A breach: valid fell, or tdata or tlast changed, before the result was taken.
`timescale 1ns/1ps

module bulk #(parameter IN_BITS = 8, parameter OUT_BITS = 8) (
    input clk,
    input rst,
    output reg done
);
    reg [8*4096-1:0] name;
    integer stim, result, read;
    reg [31:0] image_beats, total, wanted, patience, grace, tick;
    reg [31:0] gaps, stalls, hold, seed;

    reg [IN_BITS-1:0] word, tdata;
    reg tvalid, tlast;
    wire tready;
    wire [OUT_BITS-1:0] m_tdata;
    wire m_tvalid, m_tlast, frame_error;
    reg m_tready;

    reg [47:0] cycle, first;
    reg [31:0] sent, place, taken, got, quiet, after, breaches;
    reg [OUT_BITS:0] held;
    reg holding;
    reg [31:0] rest;
    reg [31:0] random_in, random_out;

    top top(.clk(clk), .rst(rst),
            .s_axis_tdata(tdata), .s_axis_tvalid(tvalid), .s_axis_tready(tready), .s_axis_tlast(tlast),
            .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid), .m_axis_tready(m_tready),
            .m_axis_tlast(m_tlast), .frame_error(frame_error));

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
        if (!$value$plusargs("stim=%s", name)) $fatal(1, "plusarg stim needed");
        stim = $fopen(name, "rb");
        if (!$value$plusargs("result=%s", name)) $fatal(1, "plusarg result needed");
        result = $fopen(name, "w");
        if (stim == 0 || result == 0) $fatal(1, "stim or result cannot be opened");
        if (!$value$plusargs("beats=%d", image_beats)) $fatal(1, "plusarg beats needed");
        if (!$value$plusargs("total=%d", total)) $fatal(1, "plusarg total needed");
        if (!$value$plusargs("wanted=%d", wanted)) $fatal(1, "plusarg wanted needed");
        if (!$value$plusargs("patience=%d", patience)) $fatal(1, "plusarg patience needed");
        if (!$value$plusargs("grace=%d", grace)) $fatal(1, "plusarg grace needed");
        if (!$value$plusargs("tick=%d", tick)) tick = 0;
        if (!$value$plusargs("gaps=%d", gaps)) gaps = 0;
        if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
        if (!$value$plusargs("hold=%d", hold)) hold = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 0;
        random_in = seed ^ 32'h9e3779b9;
        random_out = seed ^ 32'h7f4a7c15;
        {tvalid, tlast, m_tready, holding, done} = 0;
        tdata = 0;
        rest = hold;
        {cycle, first, sent, place, taken, got, quiet, after, breaches} = 0;
    end

    always @(posedge clk) if (!rst && !done) begin
        cycle <= cycle + 1;
        quiet <= quiet + 1;
        random_in <= next(random_in);
        random_out <= next(random_out);

        if (tvalid && tready) begin
            if (taken == 0) first <= cycle;
            taken <= taken + 1;
            quiet <= 0;
        end
        if (!tvalid || tready) begin
            if (sent < total && random_in[23:16] >= gaps) begin
                read = $fread(word, stim);
                tdata <= word;
                tvalid <= 1;
                tlast <= place == image_beats - 1;
                place <= place == image_beats - 1 ? 0 : place + 1;
                sent <= sent + 1;
            end else
                tvalid <= 0;
        end

        if (rest != 0) begin
            rest <= rest - 1;
            m_tready <= 0;
        end else begin
            if (random_out[15:0] == 0) rest <= hold;
            m_tready <= random_out[23:16] >= stalls;
        end
        if (holding && (!m_tvalid || held != {m_tlast, m_tdata})) breaches <= breaches + 1;
        holding <= m_tvalid && !m_tready;
        held <= {m_tlast, m_tdata};
        if (m_tvalid && m_tready) begin
            $fwrite(result, "%h %b %h\n", cycle, m_tlast, m_tdata);
            got <= got + 1;
            if (got < wanted) quiet <= 0;
            if (tick != 0 && got % tick == 0) $display("progress %0d %0d", got, wanted);
        end

        if (taken == total && got >= wanted) after <= after + 1;
        if (after == grace || quiet == patience) begin
            $fwrite(result, "end %0d %0d %0d %0d %b %b\n",
                    cycle, first, taken, breaches, frame_error, after != grace);
            $fclose(result);
            done <= 1;
        end
    end
endmodule
