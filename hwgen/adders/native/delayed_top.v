// A graph with delays and its line memory. A row of the stream has ROW steps, padding included.
module adder_graph #(
    parameter ROW = 1,
    parameter X_BITS = 1,
    parameter Y_BITS = 1,
    parameter LINE_BITS = 1
) (
    input  wire clk,
    input  wire en,
    input  wire [X_BITS - 1:0] x,
    output wire [Y_BITS - 1:0] y
);
    wire [LINE_BITS - 1:0] line_d, line_q;

    adder_graph__core core (
        .clk(clk), .en(en), .x(x), .y(y), .line_d(line_d), .line_q(line_q)
    );
    adder_graph__line #(.WIDTH(LINE_BITS), .ROW(ROW)) line (
        .clk(clk), .en(en), .d(line_d), .q(line_q)
    );
endmodule

// q is what d was ROW steps ago; ROW >= 2.
module adder_graph__line #(
    parameter WIDTH = 1,
    parameter ROW = 2
) (
    input  wire clk,
    input  wire en,
    input  wire [WIDTH - 1:0] d,
    output reg  [WIDTH - 1:0] q
);
    reg [WIDTH - 1:0] memory [0:ROW - 2];
    reg [31:0] at = 0;

    always @(posedge clk)
        if (en) begin
            // The word is read before it is written over: ROW - 1 steps here, one in q.
            q <= memory[at];
            memory[at] <= d;
            at <= at == ROW - 2 ? 0 : at + 1;
        end
endmodule
