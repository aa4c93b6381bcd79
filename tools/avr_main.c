/* Runs lenet.c on an ATmega1284P, on the images of images.h, and reports by serial port; then sleeps, which ends simavr.
 *
 * A line for each image: its logits, and how many thousands of clock cycles it took. The last line: bytes of stack in use
 * at most, which is what is left of a pattern that RAM was filled with above the variables.
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

#include "images.h" /* IMAGES, and images: uint8_t [IMAGES * LENET_PIXELS] in flash */
#include "lenet.h"

#define PATTERN 0xc5

extern uint8_t __heap_start; /* the linker's: the first byte behind the variables */

static uint8_t image[LENET_PIXELS];
static int8_t outputs[LENET_OUTPUTS], work[LENET_WORK];

static void put(char c)
{
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = c;
}

static void put_number(int32_t number)
{
    char digits[10];
    int8_t count = 0;
    if (number < 0) {
        put('-');
        number = -number;
    }
    do {
        digits[count++] = '0' + number % 10;
        number /= 10;
    } while (number);
    while (count) {
        put(digits[--count]);
    }
}

int main(void)
{
    uint8_t *const top = (uint8_t *)SP - 16; /* below what main itself has on the stack by now */
    uint8_t *lowest = &__heap_start;

    UCSR0B = 1 << TXEN0;
    for (uint8_t *p = lowest; p < top; p++) {
        *p = PATTERN;
    }
    TCCR1B = 1 << CS12 | 1 << CS10; /* counts every 1,024 cycles, up to 4 s at 16 MHz */
    for (int n = 0; n < IMAGES; n++) {
        /* Images lie behind the weights, where 16-bit pointers may not reach. */
        const uint_farptr_t first = pgm_get_far_address(images) + (uint32_t)n * LENET_PIXELS;
        for (int i = 0; i < LENET_PIXELS; i++) {
            image[i] = pgm_read_byte_far(first + i);
        }
        TCNT1 = 0;
        lenet_run(image, outputs, 0, work);
        const uint16_t ticks = TCNT1;
        for (int i = 0; i < LENET_OUTPUTS; i++) {
            put_number(outputs[i]);
            put(' ');
        }
        put_number((int32_t)ticks * 1024 / 1000);
        put('\n');
    }
    while (*lowest == PATTERN) {
        lowest++;
    }
    put_number((uint8_t *)RAMEND - lowest + 1);
    put('\n');
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
