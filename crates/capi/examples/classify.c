// Classifies one image: classify MODEL IMAGE
//
// The same prediction as `fieldfit infer --model MODEL IMAGE`.

#include "fieldfit.h"

#include <stdio.h>
#include <stdlib.h>

// Ends the program with the message of a failed call.
static int fail(fieldfit_status status, fieldfit_error *error) {
    fprintf(stderr, "%s: %s\n", fieldfit_status_name(status), fieldfit_error_message(error));
    fieldfit_error_free(error);
    return EXIT_FAILURE;
}

// Reads a file; NULL if that fails.
static unsigned char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    const long end = ftell(file);
    rewind(file);
    unsigned char *bytes = end > 0 ? malloc((size_t)end) : NULL;
    if (bytes != NULL) *length = fread(bytes, 1, (size_t)end, file);
    fclose(file);
    return bytes;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE\n", argv[0]);
        return EXIT_FAILURE;
    }
    fieldfit_frame frame = fieldfit_frame_init();
    unsigned char *image = read_file(argv[2], &frame.length);
    if (image == NULL) {
        fprintf(stderr, "cannot read %s\n", argv[2]);
        return EXIT_FAILURE;
    }
    frame.format = FIELDFIT_ENCODED;
    frame.data = image;

    fieldfit_options options = fieldfit_options_init();
    options.model = argv[1];
    fieldfit_runtime *runtime = NULL;
    fieldfit_error *error = NULL;
    fieldfit_status status = fieldfit_open(&options, &runtime, &error);
    fieldfit_prediction prediction = fieldfit_prediction_init();
    if (status == FIELDFIT_OK) status = fieldfit_infer(runtime, &frame, &prediction, &error);
    for (uint32_t rank = 0; status == FIELDFIT_OK && rank < prediction.count && rank < 3; rank++) {
        printf("%-32s %.9g\n", prediction.top[rank].label, (double)prediction.top[rank].probability);
    }
    const int result = status == FIELDFIT_OK ? EXIT_SUCCESS : fail(status, error);
    fieldfit_close(runtime);
    free(image);
    return result;
}
