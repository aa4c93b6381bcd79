"""What is the same in every model written as C: how numbers are read and rounded, the header, a `main` for testing."""

from string import Template

HEADER = Template("""\
/* $name: a neural network in integers, $input_shape pixels -> $outputs outputs. Written by minigrad.compression.export.to_c.
 *
$layers
 *
 * Flash: $flash bytes of constants ($weights weights, $biases biases, $rounding multipliers and shifts), and the code.
 * RAM:   $work bytes for activations, $pixels for the image, $outputs for the outputs, and the stack.
 *
 * No heap, no floating-point number, no library but stdint. Profile "$profile" of minigrad: same bits as there.
 */
#ifndef $guard
#define $guard

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${upper}_PIXELS $pixels /* $input_shape: channel by channel, row by row */
#define ${upper}_OUTPUTS $outputs
#define ${upper}_WORK $work /* bytes of activations: outputs of layers take turns in two buffers, $first and $second bytes */
#define ${upper}_FLASH $flash /* bytes of constants */

/* Classify one image.
 *
 * image:   pixels as in a file, 0 to 255.
 * outputs: logits; the largest is the class that was recognised.$sums_about
 * work:    memory for activations; its content means nothing before and after.
 */
void ${name}_run(const uint8_t image[${upper}_PIXELS], int8_t outputs[${upper}_OUTPUTS],
    ${sums_parameter}int8_t work[${upper}_WORK]);

#ifdef __cplusplus
}
#endif

#endif
""")

SOURCE = Template("""\
/* $name: see $name.h, which says what it needs.
 *
 * A real number r is kept as an integer q: r = scale * (q - zero). Activations q are int8, weights are int8 with zero = 0.
 * A layer adds up products in int32, from a bias on into which the input's zero is folded, and then brings the sum
 * back to int8: it multiplies by a real number below 1, as a rule, which is written as integers, a multiplier and a shift.
 * Before it wrote this file, minigrad proved of every channel that no image can make its sum leave int32.
 */
#include "$name.h"

/* The AVR has a second address space for flash. Arrays in it stay there, instead of being copied into RAM at the start,
 * but have to be read by an instruction of their own. (Each macro looks at its argument once, so that it may be w++.)
 */
#ifdef __AVR__
#include <avr/pgmspace.h>
#define IN_FLASH PROGMEM
#define READ_8(address) ((int8_t)pgm_read_byte(address))
#define READ_32(address) ((int32_t)pgm_read_dword(address))
#if ${upper}_FLASH > 65000
#error "$name: on an AVR, constants must fit into the first 64 KiB of flash, as far as 16-bit pointers reach"
#endif
#else
#define IN_FLASH
#define READ_8(address) (*(address))
#define READ_32(address) (*(address))
#endif

/* C99 leaves it to the compiler how negative numbers are shifted right; this file needs the sign to stay, as is usual.
 * And int, which may have 16 bits only, has to hold any index. If either is not so, this line does not compile.
 */
typedef char this_compiler_will_do[(-2 >> 1) == -1 && (sizeof(int) > 2 || $largest <= 32767) ? 1 : -1];

$constants
$rounding_functions
$functions
void ${name}_run(const uint8_t image[${upper}_PIXELS], int8_t outputs[${upper}_OUTPUTS],
    ${sums_parameter}int8_t work[${upper}_WORK])
{
$run
}
""")

REQUANTIZE = """\
static int32_t clamp(int64_t value, int low, int high)
{
    return (int32_t)(value < low ? low : value > high ? high : value);
}

/* From a sum to int8: to the output's scale and zero; then the bounds, of which the lower is ReLU's as a rule. */
static int8_t requantize(int32_t sum, int32_t multiplier, int shift, int zero, int low, int high)
{
    return (int8_t)clamp(rescale(sum, multiplier, shift) + zero, low, high);
}
"""

TFLITE = """\
/* x / 2**exponent for exponents 0 to 31, rounded to the nearest integer, ties away from zero. */
static int32_t divide_by_power_of_two(int32_t x, int exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

/* sum * multiplier * 2**(shift - 31), rounded twice, as TensorFlow Lite does: to the upper 32 bits of the doubled product,
 * and again by what the shift drops. (Shifting a negative number left is undefined in C; multiplying is not.)
 */
static int64_t rescale(int32_t sum, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int64_t product = sum * ((int64_t)1 << left) * multiplier;
    return divide_by_power_of_two((int32_t)((product + ((int64_t)1 << 30)) >> 31), right);
}
"""

SINGLE = """\
/* sum * multiplier * 2**(shift - 31), rounded once to the nearest integer, ties toward +infinity. */
static int64_t rescale(int32_t sum, int32_t multiplier, int shift)
{
    const int bits = 31 - shift;
    return ((int64_t)sum * multiplier + ((int64_t)1 << (bits - 1))) >> bits;
}
"""

ONNX = """\
/* How many bits the magnitude of x has. */
static int bit_length(int64_t x)
{
    int bits = 0;
    for (x = x < 0 ? -x : x; x > 0; x >>= 1) {
        bits++;
    }
    return bits;
}

/* x / 2**bits, rounded to the nearest integer, ties to the even one. */
static int64_t round_half_even(int64_t x, int bits)
{
    const int64_t one = (int64_t)1 << bits, whole = x >> bits, twice_rest = (x - whole * one) * 2;
    return whole + (twice_rest > one || (twice_rest == one && (whole & 1)));
}

/* sum * multiplier * 2**shift, rounded as float32 would, which keeps 24 bits: the sum, the product, and what comes out. */
static int64_t rescale(int32_t sum, int32_t multiplier, int shift)
{
    const int beyond = bit_length(sum) - 24, lost = beyond > 0 ? beyond : 0;
    const int64_t product = round_half_even(sum, lost) * multiplier;
    const int over = bit_length(product) - 24, too_long = over > 0 ? over : 0;
    const int64_t rounded = round_half_even(product, too_long);
    const int exponent = lost + too_long + shift;
    if (exponent >= 0) {
        return rounded * ((int64_t)1 << (exponent < 32 ? exponent : 32)); /* far beyond int8, in any case */
    }
    return round_half_even(rounded, exponent > -48 ? -exponent : 48);
}
"""

RESCALE = {"tflite": TFLITE, "single": SINGLE, "onnx": ONNX}
"""How a sum is rounded, by profile: the C of `integer/arithmetic.py`."""

MEAN = """
/* total / count, rounded half away from zero. */
static int32_t mean(int32_t total, int32_t count)
{
    return (total < 0 ? total - count / 2 : total + count / 2) / count;
}
"""

MAIN = Template("""\
/* Reads images from standard input, $pixels bytes each, and prints a line of outputs for each.$main_about
 *
 *     gcc -std=c99 -O2 $name.c ${name}_main.c -o $name
 *     ./$name < images
 *
 * For testing: $name.h and $name.c are all that another program needs.
 */
#include <stdio.h>

#include "$name.h"

int main($main_parameters)
{
    static uint8_t image[${upper}_PIXELS];
    static int8_t outputs[${upper}_OUTPUTS], work[${upper}_WORK];$main_sums
    size_t got;

    while ((got = fread(image, 1, sizeof image, stdin)) == sizeof image) {
        ${name}_run(image, outputs,$main_argument work);
        for (int i = 0; i < ${upper}_OUTPUTS; i++) {
            printf("%ld%c", (long)$main_number, i + 1 < ${upper}_OUTPUTS ? ' ' : '\\n');
        }
    }
    if (got) {
        fprintf(stderr, "$name: the last image has %lu bytes, expected $pixels\\n", (unsigned long)got);
        return 1;
    }
    return 0;
}
""")

WITH_SUMS = {
    "sums_about": "\n * sums:    a null pointer, or memory for the last layer's $outputs sums before they are rounded to int8.",
    "sums_parameter": "int32_t *sums, ",
    "main_about": "\n * With any argument, it prints the sums before they are rounded to int8 instead.",
    "main_parameters": "int count, char **arguments",
    "main_sums": "\n    static int32_t sums[${upper}_OUTPUTS];",
    "main_argument": " sums,",
    "main_number": "(count > 1 && arguments[1] ? sums[i] : outputs[i])",
}
"""What those texts are filled in with if the model ends in a layer that has sums."""

WITHOUT_SUMS = dict.fromkeys(WITH_SUMS, "") | {"main_parameters": "void", "main_number": "outputs[i]"}
"""And if it ends in pooling."""
