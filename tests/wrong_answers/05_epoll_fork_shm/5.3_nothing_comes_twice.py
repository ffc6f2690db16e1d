"""What is lost is thought to leave a gap.

check: test_what_b_receives
says: a bell taken for the line
"""

B_RECEIVES = [1, 3]
