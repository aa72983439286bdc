for i in 1 2 3; do cp file file.new; echo $i >>file.new; mv file.new file; done; echo end >>file
