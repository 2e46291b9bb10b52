// Beside any top in Icarus: writes all signals to the file of plusarg "wave", as VCD.
`timescale 1ns/1ps
module waves;
    reg [8*1024-1:0] name;
    initial
        if ($value$plusargs("wave=%s", name)) begin
            $dumpfile(name);
            $dumpvars;
        end
endmodule
