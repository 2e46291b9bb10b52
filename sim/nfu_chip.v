// Around an NFU with memory on chip: obeys a file of commands over AXI4-Lite, at the simulator's own speed.
//
// The file is 32-bit numbers, most significant byte first: 1 address count words... writes words;
// 2 address count reads words, a line "r value" (hexadecimal) each; 3 limit starts the NFU and waits until it
// is done or `limit` cycles are over, a line "done cycles" or "stuck cycles" (decimal); 0 ends.
// Plusargs: script, the file; result, file to write; gaps, how often a beat waits, in 1/256; seed.
`timescale 1ns/1ps

module nfu_chip(input clk, input rst, output reg done);
    reg [8*4096-1:0] name;
    integer script, result, got;
    reg [31:0] number, address, count, limit, gaps, seed, random, waited;
    reg [4:0] state;
    reg begun;

    reg awvalid, wvalid, arvalid, bready, rready;
    wire awready, wready, arready, bvalid, rvalid, interrupt;
    wire [1:0] bresp, rresp;
    wire [31:0] rdata;
    reg [31:0] wdata;

    top top(.clk(clk), .rst(rst), .interrupt(interrupt),
            .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_awaddr(address), .s_axil_awprot(3'd0),
            .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_wdata(wdata), .s_axil_wstrb(4'hf),
            .s_axil_bvalid(bvalid), .s_axil_bready(bready), .s_axil_bresp(bresp),
            .s_axil_arvalid(arvalid), .s_axil_arready(arready), .s_axil_araddr(address), .s_axil_arprot(3'd0),
            .s_axil_rvalid(rvalid), .s_axil_rready(rready), .s_axil_rdata(rdata), .s_axil_rresp(rresp));

    function [31:0] next(input [31:0] x0);
        reg [31:0] x;
        begin
            x = x0 ^ (x0 << 13);
            x = x ^ (x >> 17);
            next = x ^ (x << 5);
        end
    endfunction

    localparam COMMAND = 0, WRITE = 1, WRITING = 2, READ = 3, READING = 4, START = 5, WAITING = 6,
               END = 7;

    initial begin
        if (!$value$plusargs("script=%s", name)) $fatal(1, "plusarg script needed");
        script = $fopen(name, "rb");
        if (!$value$plusargs("result=%s", name)) $fatal(1, "plusarg result needed");
        result = $fopen(name, "w");
        if (script == 0 || result == 0) $fatal(1, "script or result cannot be opened");
        if (!$value$plusargs("gaps=%d", gaps)) gaps = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 0;
        random = seed ^ 32'h9e3779b9;
        {awvalid, wvalid, arvalid, bready, rready, done} = 0;
        {address, count, limit, waited, wdata, begun} = 0;
        state = COMMAND;
    end

    always @(posedge clk) if (!rst && !done) begin
        random <= next(random);
        if (awready && awvalid) awvalid <= 0;
        if (wready && wvalid) wvalid <= 0;
        if (arready && arvalid) arvalid <= 0;
        bready <= random[15:8] >= gaps;
        rready <= random[23:16] >= gaps;
        case (state)
            COMMAND: begin
                got = $fread(number, script);
                case (number)
                    1, 2: begin
                        state <= number == 1 ? WRITE : READ;
                        got = $fread(number, script);
                        address <= number;
                        got = $fread(number, script);
                        count <= number;
                    end
                    3: begin
                        got = $fread(number, script);
                        limit <= number;
                        state <= START;
                    end
                    default: state <= END;
                endcase
            end
            WRITE: if (count == 0) state <= COMMAND;
                else if (random[7:0] >= gaps) begin
                    got = $fread(number, script);
                    wdata <= number;
                    {awvalid, wvalid} <= 2'b11;
                    state <= WRITING;
                end
            WRITING: if (bvalid && bready) begin
                    if (bresp != 0) $fwrite(result, "error %h\n", address);
                    address <= address + 4;
                    count <= count - 1;
                    state <= WRITE;
                end
            READ: if (count == 0) state <= COMMAND;
                else if (random[7:0] >= gaps) begin
                    arvalid <= 1;
                    state <= READING;
                end
            READING: if (rvalid && rready) begin
                    if (rresp != 0) $fwrite(result, "error %h\n", address);
                    $fwrite(result, "r %h\n", rdata);
                    address <= address + 4;
                    count <= count - 1;
                    state <= READ;
                end
            START: begin
                address <= 8;
                wdata <= 3;                     // start, with interrupt
                {awvalid, wvalid} <= 2'b11;
                waited <= 0;
                begun <= 0;
                state <= WAITING;
            end
            WAITING: begin
                waited <= waited + 1;
                // Once the start is answered the interrupt of the run before is gone.
                if (bvalid && bready) begun <= 1;
                if (begun && interrupt || waited == limit) begin
                    $fwrite(result, "%0s %0d\n", waited == limit ? "stuck" : "done", waited);
                    state <= COMMAND;
                end
            end
            default: begin
                $fclose(result);
                done <= 1;
            end
        endcase
    end
endmodule
