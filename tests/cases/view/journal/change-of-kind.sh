rm -r tree; echo now a file >tree; rm file; mkdir file; touch file/x
