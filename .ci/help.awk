# Print the Makefile's targets under their headings: `##@ heading`, and `target: needs ## what it does`.
BEGIN { print "chatlab: a teaching lab for Linux I/O multiplexing. Begin with: make lab-1" }
/^##@ / { printf "\n%s\n", substr($0, 5) }
/^[a-z][^:=]*:.* ## / {
    target = $1; sub(/:.*/, "", target); sub(/%/, "N", target)
    if (target == "lab-1") target = "lab-N"
    words = $0; sub(/^.* ## /, "", words)
    printf "  make %-15s %s\n", target, words
}
