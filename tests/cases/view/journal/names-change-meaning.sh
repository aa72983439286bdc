echo x >>tree/below/leaf; mkdir -p d3/below; mv tree d2; mv other tree; mkdir tree/below; echo y >tree/below/leaf; echo z >>d2/below/leaf
