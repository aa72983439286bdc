rm file; rm -r tree; rm "new"$'\n'"line é"
