echo more >>file; echo x >brand-new; mkdir -p a/b/c; echo y >a/b/c/d
