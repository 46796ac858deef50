# Reads numbers.txt. Prints how many lines it has, how many of them are not the number of the
# line in words, how many numbers are missing, and how many lines repeat a number. The words
# are those of Python's num2words, up to 10^9.

BEGIN {
    split("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", small, " ")
    split("ten twenty thirty forty fifty sixty seventy eighty ninety", tens, " ")
}

function words(n) {
    if (n < 20) return small[n]
    if (n < 100) return tens[int(n / 10)] (n % 10 ? "-" small[n % 10] : "")
    if (n < 1000) return part(n, 100, "hundred", " and ")
    if (n < 1000000) return part(n, 1000, "thousand", ", ")
    return part(n, 1000000, "million", ", ")
}

function part(n, unit, name, comma) {
    return words(int(n / unit)) " " name (n % unit == 0 ? "" : (n % unit < 100 ? " and " : comma) words(n % unit))
}

{
    # A number that was left out makes the last ones higher than their lines.
    while (known < NR + 1000) {
        known++
        number[words(known)] = known
    }
    if (!($0 in number)) {
        wrong++
        next
    }
    n = number[$0]
    if (n != NR) wrong++
    if (seen[n]++) repeated++
    else distinct++
    if (n > highest) highest = n
}

END { print NR + 0, wrong + 0, highest - distinct, repeated + 0 }
