// Eight threads that answer frames while another one swaps versions: threads MODEL STORE
//
// Catches: a frame answered by parts of two versions, and a data race in the C++ interface (under ThreadSanitizer).

#include "check.h"
#include "images.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

namespace {

// What a version says of the frame.
struct Answer {
    std::string label;
    float probability;
    std::size_t classes;
};

Answer answer(const fieldfit::Prediction &prediction) {
    return {std::string(prediction.best().label), prediction.best().probability, prediction.size()};
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 3);
    fieldfit::Options options{argv[1]};
    options.store = argv[2];
    options.flags = FIELDFIT_CREATE_STORE | FIELDFIT_WITHOUT_TRIALS;
    options.threads = 1;
    fieldfit::Runtime runtime = fieldfit::Runtime::open(options);
    const Picture picture(1), other(2);
    std::map<std::uint32_t, Answer> expected;
    expected[0] = answer(runtime.infer(picture.frame()));
    runtime.teach("mud", {picture.frame()});
    expected[1] = answer(runtime.infer(picture.frame()));
    runtime.teach("ice", {other.frame()});
    expected[2] = answer(runtime.infer(picture.frame()));

    std::mutex lock;
    std::vector<std::string> notices;
    runtime.on_notice([&](std::string_view json) {
        const std::lock_guard<std::mutex> guard(lock);
        notices.emplace_back(json);
    });
    std::atomic<bool> is_over{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int index = 0; index < 8; ++index) {
        threads.emplace_back([&] {
            do {
                const fieldfit::Prediction prediction = runtime.infer(picture.frame());
                const Answer &whole = expected.at(prediction.version().number().value_or(0));
                CHECK(prediction.best().label == whole.label && prediction.best().probability == whole.probability);
                CHECK(prediction.size() == whole.classes);
                ++answered;
            } while (!is_over);
        });
    }
    constexpr int swaps = 6;
    for (int swap = 0; swap < swaps; ++swap) {
        if (swap % 3 == 2) {
            runtime.rollback();
        } else {
            runtime.activate(static_cast<std::uint32_t>(swap % 3 + 1));
        }
    }
    is_over = true;
    for (std::thread &thread : threads) thread.join();
    runtime.on_notice({});
    // And those of teaching, which were kept until there was a listener.
    CHECK(answered >= 8 && notices.size() == swaps + 2);
    std::printf("%d frames of 8 threads over %d swaps, each of one version\n", answered.load(), swaps);
    return 0;
}
