"""From a Network to a program image of the NFU: instructions, packed weights, a memory map."""
