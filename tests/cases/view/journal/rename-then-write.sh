mv file moved; echo changed >>moved
