// Behaviour of the ECP5 cells that synthesis uses, for simulation of a mapped netlist. No timing.
//
// Settings that are not modelled stop the simulation. Bits of a block memory: 1,024 words of 18 bits,
// a word is two bytes of 9 bits; ports of 1, 2 or 4 bits see the lower 8 bits of each byte. INITVAL
// holds a word in 20 bits, the upper two of them 0.
`timescale 1ns/1ps

module LUT4 (input A, B, C, D, output Z);
    parameter [15:0] INIT = 16'd0;
    assign Z = INIT[{D, C, B, A}];
endmodule

// A half adds: propagate is its table of four inputs, generate its table of two.
module CCU2C (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
    parameter [15:0] INIT0 = 16'd0;
    parameter [15:0] INIT1 = 16'd0;
    parameter INJECT1_0 = "YES";
    parameter INJECT1_1 = "YES";
    localparam SUM0 = INJECT1_0 == "NO";
    localparam SUM1 = INJECT1_1 == "NO";

    wire propagate0 = INIT0[{D0, C0, B0, A0}];
    wire propagate1 = INIT1[{D1, C1, B1, A1}];
    wire generate0 = INIT0[{2'd0, B0, A0}] & SUM0;
    wire generate1 = INIT1[{2'd0, B1, A1}] & SUM1;
    wire carry = propagate0 ? CIN : generate0;

    assign S0 = propagate0 ^ (CIN & SUM0);
    assign S1 = propagate1 ^ (carry & SUM1);
    assign COUT = propagate1 ? carry : generate1;
endmodule

module PFUMX (input ALUT, BLUT, C0, output Z);
    assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21 (input D0, D1, SD, output Z);
    assign Z = SD ? D1 : D0;
endmodule

module TRELLIS_FF (input CLK, LSR, CE, DI, M, output reg Q);
    parameter GSR = "ENABLED";
    parameter CEMUX = "1";
    parameter CLKMUX = "CLK";
    parameter LSRMUX = "LSR";
    parameter LSRMODE = "LSR";
    parameter SRMODE = "LSR_OVER_CE";
    parameter REGSET = "RESET";
    localparam VALUE = REGSET == "SET";

    wire clock = CLKMUX == "INV" ? ~CLK : CLK;
    wire enable = CEMUX == "1" ? 1'b1 : CEMUX == "INV" ? ~CE : CE;
    wire set = LSRMUX == "INV" ? ~LSR : LSR;

    initial Q = VALUE;
    initial if (LSRMODE != "LSR") $fatal(1, "TRELLIS_FF: LSRMODE %s is not modelled", LSRMODE);
    generate
        if (SRMODE == "ASYNC") begin : asynchronous
            always @(posedge clock or posedge set)
                if (set) Q <= VALUE;
                else if (enable) Q <= DI;
        end else if (SRMODE == "LSR_OVER_CE") begin : set_first
            always @(posedge clock)
                if (set) Q <= VALUE;
                else if (enable) Q <= DI;
        end else begin : enable_first
            always @(posedge clock)
                if (enable) Q <= set ? VALUE : DI;
        end
    endgenerate
endmodule

module TRELLIS_DPR16X4 (input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
    parameter WCKMUX = "WCK";
    parameter WREMUX = "WRE";
    parameter [63:0] INITVAL = 64'd0;
    reg [3:0] words [0:15];
    integer n;

    wire clock = WCKMUX == "INV" ? ~WCK : WCK;
    wire write = WREMUX == "1" ? 1'b1 : WREMUX == "0" ? 1'b0 : WREMUX == "INV" ? ~WRE : WRE;

    initial for (n = 0; n < 16; n = n + 1) words[n] = INITVAL[4*n +: 4];
    always @(posedge clock) if (write) words[WAD] <= DI;
    assign DO = words[RAD];
endmodule

// Bits that a port of WIDTH sees at an address, as a mask and a place among the 18 of a word.
module hwgen_bram_port #(parameter WIDTH = 18) (
    input [13:0] address, input [17:0] data, word, input [1:0] byte_enable,
    output [17:0] written, mask, read
);
    // Place of the lowest bit: bytes are 9 apart, bits of a byte 1.
    wire [4:0] low = (address[3] ? 5'd9 : 5'd0) + {2'd0, address[2:0]};
    wire [4:0] place = WIDTH == 18 ? 5'd0 : WIDTH == 9 ? (address[3] ? 5'd9 : 5'd0)
                     : WIDTH == 4 ? low - {3'd0, address[1:0]}
                     : WIDTH == 2 ? low - {4'd0, address[0]} : low;
    wire [17:0] ones = WIDTH == 18 ? {{9{byte_enable[1]}}, {9{byte_enable[0]}}}
                     : WIDTH == 9 ? 18'h1ff : WIDTH == 4 ? 18'hf : WIDTH == 2 ? 18'h3 : 18'h1;
    wire [17:0] all = WIDTH == 18 ? 18'h3ffff : ones;
    assign mask = ones << place;
    assign written = data << place;
    assign read = (word >> place) & all;
endmodule

module DP16KD (
    input
    DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14,
    DIA15, DIA16, DIA17, ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11,
    ADA12, ADA13, CEA, OCEA, CLKA, WEA, RSTA, CSA0, CSA1, CSA2,
    input
    DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14,
    DIB15, DIB16, DIB17, ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11,
    ADB12, ADB13, CEB, OCEB, CLKB, WEB, RSTB, CSB0, CSB1, CSB2,
    output
    DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14,
    DOA15, DOA16, DOA17, DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11,
    DOB12, DOB13, DOB14, DOB15, DOB16, DOB17
);
    parameter DATA_WIDTH_A = 18;
    parameter REGMODE_A = "NOREG";
    parameter WRITEMODE_A = "NORMAL";
    parameter CSDECODE_A = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_B = "NOREG";
    parameter WRITEMODE_B = "NORMAL";
    parameter CSDECODE_B = "0b000";
    parameter CLKBMUX = "CLKB";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter GSR = "ENABLED";
    parameter INIT_DATA = "STATIC";
    parameter [319:0] INITVAL_00 = 320'd0;
    parameter [319:0] INITVAL_01 = 320'd0;
    parameter [319:0] INITVAL_02 = 320'd0;
    parameter [319:0] INITVAL_03 = 320'd0;
    parameter [319:0] INITVAL_04 = 320'd0;
    parameter [319:0] INITVAL_05 = 320'd0;
    parameter [319:0] INITVAL_06 = 320'd0;
    parameter [319:0] INITVAL_07 = 320'd0;
    parameter [319:0] INITVAL_08 = 320'd0;
    parameter [319:0] INITVAL_09 = 320'd0;
    parameter [319:0] INITVAL_0A = 320'd0;
    parameter [319:0] INITVAL_0B = 320'd0;
    parameter [319:0] INITVAL_0C = 320'd0;
    parameter [319:0] INITVAL_0D = 320'd0;
    parameter [319:0] INITVAL_0E = 320'd0;
    parameter [319:0] INITVAL_0F = 320'd0;
    parameter [319:0] INITVAL_10 = 320'd0;
    parameter [319:0] INITVAL_11 = 320'd0;
    parameter [319:0] INITVAL_12 = 320'd0;
    parameter [319:0] INITVAL_13 = 320'd0;
    parameter [319:0] INITVAL_14 = 320'd0;
    parameter [319:0] INITVAL_15 = 320'd0;
    parameter [319:0] INITVAL_16 = 320'd0;
    parameter [319:0] INITVAL_17 = 320'd0;
    parameter [319:0] INITVAL_18 = 320'd0;
    parameter [319:0] INITVAL_19 = 320'd0;
    parameter [319:0] INITVAL_1A = 320'd0;
    parameter [319:0] INITVAL_1B = 320'd0;
    parameter [319:0] INITVAL_1C = 320'd0;
    parameter [319:0] INITVAL_1D = 320'd0;
    parameter [319:0] INITVAL_1E = 320'd0;
    parameter [319:0] INITVAL_1F = 320'd0;
    parameter [319:0] INITVAL_20 = 320'd0;
    parameter [319:0] INITVAL_21 = 320'd0;
    parameter [319:0] INITVAL_22 = 320'd0;
    parameter [319:0] INITVAL_23 = 320'd0;
    parameter [319:0] INITVAL_24 = 320'd0;
    parameter [319:0] INITVAL_25 = 320'd0;
    parameter [319:0] INITVAL_26 = 320'd0;
    parameter [319:0] INITVAL_27 = 320'd0;
    parameter [319:0] INITVAL_28 = 320'd0;
    parameter [319:0] INITVAL_29 = 320'd0;
    parameter [319:0] INITVAL_2A = 320'd0;
    parameter [319:0] INITVAL_2B = 320'd0;
    parameter [319:0] INITVAL_2C = 320'd0;
    parameter [319:0] INITVAL_2D = 320'd0;
    parameter [319:0] INITVAL_2E = 320'd0;
    parameter [319:0] INITVAL_2F = 320'd0;
    parameter [319:0] INITVAL_30 = 320'd0;
    parameter [319:0] INITVAL_31 = 320'd0;
    parameter [319:0] INITVAL_32 = 320'd0;
    parameter [319:0] INITVAL_33 = 320'd0;
    parameter [319:0] INITVAL_34 = 320'd0;
    parameter [319:0] INITVAL_35 = 320'd0;
    parameter [319:0] INITVAL_36 = 320'd0;
    parameter [319:0] INITVAL_37 = 320'd0;
    parameter [319:0] INITVAL_38 = 320'd0;
    parameter [319:0] INITVAL_39 = 320'd0;
    parameter [319:0] INITVAL_3A = 320'd0;
    parameter [319:0] INITVAL_3B = 320'd0;
    parameter [319:0] INITVAL_3C = 320'd0;
    parameter [319:0] INITVAL_3D = 320'd0;
    parameter [319:0] INITVAL_3E = 320'd0;
    parameter [319:0] INITVAL_3F = 320'd0;
    localparam [20479:0] INITVAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A,
        INITVAL_39, INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34,
        INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
        INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22,
        INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
        INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
        INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04,
        INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };

    reg [17:0] words [0:1023];
    integer n;
    initial for (n = 0; n < 1024; n = n + 1)
        words[n] = INITVAL[20*n +: 18];

    initial if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB" || RESETMODE != "SYNC" && RESETMODE != "ASYNC")
        $fatal(1, "DP16KD: %s, %s or %s is not modelled", CLKAMUX, CLKBMUX, RESETMODE);

    // Both ports 36 wide: A writes, B reads, each with the lower half of the data at A's pins and the
    // upper half at B's.
    localparam WIDE = DATA_WIDTH_A == 36;
    initial if (WIDE != (DATA_WIDTH_B == 36))
        $fatal(1, "DP16KD: widths %0d and %0d are not modelled", DATA_WIDTH_A, DATA_WIDTH_B);
    wire clock_reading_a = WIDE ? CLKB : CLKA;
    wire enable_out_a = WIDE ? OCEB : OCEA;
    wire reset_a = WIDE ? RSTB : RSTA;

    wire [17:0] data_a = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6,
        DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
    };
    wire [13:0] address_a = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
        ADA0
    };

    wire [17:0] data_b = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
        DIB5, DIB4, DIB3, DIB2, DIB1, DIB0
    };
    wire [13:0] address_b = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
        ADB0
    };
    wire clock_reading_b = CLKB;
    wire enable_out_b = OCEB;
    wire reset_b = RSTB;
    always @(posedge CLKA) if (WIDE && chosen_a && WEA) begin
        if (address_a[0]) words[{address_a[13:5], 1'b0}][8:0] <= data_a[8:0];
        if (address_a[1]) words[{address_a[13:5], 1'b0}][17:9] <= data_a[17:9];
        if (address_a[2]) words[{address_a[13:5], 1'b1}][8:0] <= data_b[8:0];
        if (address_a[3]) words[{address_a[13:5], 1'b1}][17:9] <= data_b[17:9];
    end

    localparam [2:0] SELECT_A = {
        CSDECODE_A[16 +: 8] == "1", CSDECODE_A[8 +: 8] == "1", CSDECODE_A[0 +: 8] == "1"
    };
    wire chosen_a = CEA && {CSA2, CSA1, CSA0} == SELECT_A;
    wire [17:0] written_a, mask_a, read_a, new_a;
    wire [9:0] row_a = WIDE ? {address_b[13:5], 1'b0} : address_a[13:4];
    wire [17:0] word_a = words[row_a];
    reg [17:0] latch_a, out_a;
    hwgen_bram_port #(.WIDTH(DATA_WIDTH_A)) port_a (
        .address(address_a), .data(data_a), .word(word_a), .byte_enable(address_a[1:0]),
        .written(written_a), .mask(mask_a), .read(read_a)
    );
    hwgen_bram_port #(.WIDTH(DATA_WIDTH_A)) after_a (
        .address(address_a), .data(data_a), .word(word_a & ~mask_a | written_a & mask_a),
        .byte_enable(address_a[1:0]), .written(), .mask(), .read(new_a)
    );
    initial {latch_a, out_a} = 36'd0;
    always @(posedge CLKA) if (!WIDE && chosen_a && WEA)
        words[row_a] <= word_a & ~mask_a | written_a & mask_a;
    wire [17:0] shown_a = WIDE ? word_a
                      : WEA && WRITEMODE_A == "WRITETHROUGH" ? new_a : read_a;
    wire held_a = WIDE ? !chosen_b : !chosen_a || WEA && WRITEMODE_A == "NORMAL";
    generate
        if (RESETMODE == "ASYNC") begin : asynchronous_a
            always @(posedge clock_reading_a or posedge reset_a)
                if (reset_a) latch_a <= 18'd0;
                else if (!held_a) latch_a <= shown_a;
            always @(posedge clock_reading_a or posedge reset_a)
                if (reset_a) out_a <= 18'd0;
                else if (enable_out_a) out_a <= latch_a;
        end else begin : synchronous_a
            always @(posedge clock_reading_a) begin
                if (reset_a) latch_a <= 18'd0;
                else if (!held_a) latch_a <= shown_a;
                if (reset_a) out_a <= 18'd0;
                else if (enable_out_a) out_a <= latch_a;
            end
        end
    endgenerate
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6,
        DOA5, DOA4, DOA3, DOA2, DOA1, DOA0
    } = REGMODE_A == "OUTREG" ? out_a : latch_a;

    localparam [2:0] SELECT_B = {
        CSDECODE_B[16 +: 8] == "1", CSDECODE_B[8 +: 8] == "1", CSDECODE_B[0 +: 8] == "1"
    };
    wire chosen_b = CEB && {CSB2, CSB1, CSB0} == SELECT_B;
    wire [17:0] written_b, mask_b, read_b, new_b;
    wire [9:0] row_b = WIDE ? {address_b[13:5], 1'b1} : address_b[13:4];
    wire [17:0] word_b = words[row_b];
    reg [17:0] latch_b, out_b;
    hwgen_bram_port #(.WIDTH(DATA_WIDTH_B)) port_b (
        .address(address_b), .data(data_b), .word(word_b), .byte_enable(address_b[1:0]),
        .written(written_b), .mask(mask_b), .read(read_b)
    );
    hwgen_bram_port #(.WIDTH(DATA_WIDTH_B)) after_b (
        .address(address_b), .data(data_b), .word(word_b & ~mask_b | written_b & mask_b),
        .byte_enable(address_b[1:0]), .written(), .mask(), .read(new_b)
    );
    initial {latch_b, out_b} = 36'd0;
    always @(posedge CLKB) if (!WIDE && chosen_b && WEB)
        words[row_b] <= word_b & ~mask_b | written_b & mask_b;
    wire [17:0] shown_b = WIDE ? word_b
                      : WEB && WRITEMODE_B == "WRITETHROUGH" ? new_b : read_b;
    wire held_b = WIDE ? !chosen_b : !chosen_b || WEB && WRITEMODE_B == "NORMAL";
    generate
        if (RESETMODE == "ASYNC") begin : asynchronous_b
            always @(posedge clock_reading_b or posedge reset_b)
                if (reset_b) latch_b <= 18'd0;
                else if (!held_b) latch_b <= shown_b;
            always @(posedge clock_reading_b or posedge reset_b)
                if (reset_b) out_b <= 18'd0;
                else if (enable_out_b) out_b <= latch_b;
        end else begin : synchronous_b
            always @(posedge clock_reading_b) begin
                if (reset_b) latch_b <= 18'd0;
                else if (!held_b) latch_b <= shown_b;
                if (reset_b) out_b <= 18'd0;
                else if (enable_out_b) out_b <= latch_b;
            end
        end
    endgenerate
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6,
        DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
    } = REGMODE_B == "OUTREG" ? out_b : latch_b;
endmodule
