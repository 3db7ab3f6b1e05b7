"""A robot to plug a program into: the real firmware as a process, with a simulated body behind its pins."""
