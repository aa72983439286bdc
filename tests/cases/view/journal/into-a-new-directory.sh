mkdir fresh; mv file fresh/file; echo tampered >fresh/file; mv tree fresh/tree; echo x >fresh/tree/below/leaf
