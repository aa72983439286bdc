sed -i s/old/new/ file; cp -a tree copy; mv copy tree/copy; rm pipe
