/*
 * memory.h - memory that outlives a power cut, of a board that is a program of this machine: a file, or nothing.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Fills data[size] from the file at `path` and keeps it open; bytes that are not there yet are 0xFF, as in a new chip.
 * With NULL for a path nothing outlives the program. Ends the program where the file cannot be opened. */
void memory_open(const char *path, uint8_t *data, size_t size);

/* data[at .. at + length - 1] to the file, and to the disk. */
void memory_write(const uint8_t *data, size_t at, size_t length);

#endif
