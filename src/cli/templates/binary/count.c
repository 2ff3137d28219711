#include <ctype.h>
#include <stdio.h>

int main(void) {
    long bytes = 0, lines = 0, words = 0;
    int in_word = 0;
    for (int c = getchar(); c != EOF; c = getchar()) {
        bytes++;
        lines += c == '\n';
        if (isspace(c)) {
            in_word = 0;
        } else if (!in_word) {
            in_word = 1;
            words++;
        }
    }
    if (ferror(stdin)) {
        perror("stdin");
        return 1;
    }
    printf("{\"bytes\":%ld,\"lines\":%ld,\"words\":%ld}\n", bytes, lines, words);
    return 0;
}
