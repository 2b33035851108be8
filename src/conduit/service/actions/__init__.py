"""What users do, one act a file: each checks what the rules do not know, and then sends events or writes facts in one batch."""
