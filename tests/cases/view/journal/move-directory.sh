mv tree other/tree; echo x >other/tree/below/leaf; rm other/tree/below/leaf
