// Runs a fuzz target over files, for builds without libFuzzer: PROGRAM FILE ...
#include <cstdint>
#include <cstdio>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int count, char** names) {
  for (int i = 1; i < count; ++i) {
    std::FILE* file = std::fopen(names[i], "rb");
    if (!file) return 2;
    std::vector<uint8_t> data(1 << 16);
    data.resize(std::fread(data.data(), 1, data.size(), file));
    std::fclose(file);
    data.shrink_to_fit();
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  return 0;
}
