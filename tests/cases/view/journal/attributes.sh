chmod 600 file; chmod 777 tree; touch -d 2001-01-01 mode; chmod 4755 mode
