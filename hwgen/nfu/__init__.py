"""The modified DianNao: a network laid out in time on an array of shift-and-add lanes."""
