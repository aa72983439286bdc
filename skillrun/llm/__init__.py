"""What any model needs: prompt, tools, conversation, errors."""
