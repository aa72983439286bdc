rm link; ln -s /elsewhere link; ln file third; ln -sf tree/below/leaf twin
