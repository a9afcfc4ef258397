/* The one parser in C, numbers in sysfs files, against a slow and obvious one. With libFuzzer's main, or with a seeded loop of its own:
 * -DSTANDALONE, and the number of inputs as argument. */
#define _GNU_SOURCE
#include "harness.h"

enum { LONGEST = 80, SEEN = 64 }; /* the reader looks at 64 bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static int expect(const uint8_t *data, size_t length, uint64_t *value) {
    unsigned __int128 sum = 0;
    size_t digits = 0;
    length = length < SEEN ? length : SEEN;
    while (digits < length && data[digits] >= '0' && data[digits] <= '9') {
        sum = sum * 10 + (unsigned)(data[digits++] - '0');
        if (sum > UINT64_MAX)
            return -ERANGE;
    }
    if (digits == 0 || (digits < length && data[digits] != '\n'))
        return -EINVAL;
    *value = (uint64_t)sum;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    static int fd = -1;
    uint64_t value = 42, expected = 42;
    if (fd < 0)
        fd = file_with("", 0);
    CHECK(ftruncate(fd, 0) == 0 && (length == 0 || pwrite(fd, data, length, 0) == (ssize_t)length));
    CHECK_EQUAL(bt_read_u64_text(fd, &value), expect(data, length, &expected));
    CHECK(value == expected);
    return 0;
}

#ifdef STANDALONE
static uint64_t draw(void) { /* xorshift64: the same inputs every time */
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

int main(int argc, char **argv) {
    static const char *const seeds[] = {"0\n", "262143328850\n", "18446744073709551615\n", "18446744073709551616\n", "", "\n", "-1\n", "12 uJ\n"};
    long inputs = argc > 1 ? atol(argv[1]) : 100000;
    for (long i = 0; i < inputs; i++) {
        uint8_t text[LONGEST];
        const char *seed = seeds[draw() % (sizeof seeds / sizeof *seeds)];
        size_t length = strlen(seed);
        memcpy(text, seed, length);
        for (uint64_t edits = draw() % 4; edits > 0; edits--) {
            uint8_t byte = draw() % 2 ? (uint8_t)('0' + draw() % 10) : (uint8_t)draw();
            if (length > 0 && draw() % 2)
                text[draw() % length] = byte;
            else
                for (uint64_t n = draw() % 20; n > 0 && length < LONGEST; n--)
                    text[length++] = byte;
        }
        LLVMFuzzerTestOneInput(text, length);
    }
    printf("%ld inputs: ok\n", inputs);
    return 0;
}
#endif
