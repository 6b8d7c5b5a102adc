"""The five things that the paper's section 7 hopes for, each a file of its own."""
