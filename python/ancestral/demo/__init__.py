"""`ancestral demo`: three models of real digits, trained in PyTorch, then scored and sampled in Rust."""
