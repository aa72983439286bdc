echo one >link; cd tree; echo two >../file; cd below; mv leaf ..; echo three >../leaf
