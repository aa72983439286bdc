echo more >>file; mv file moved; echo again >>moved; rm moved
