#include "io/scratch_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/error_of.h"
#include "support/test_folder.h"

namespace watersic {
namespace {

TEST(ScratchFile, GivesBackWhatWasPutAndLeavesNothing) {
  const TestFolder folder("scratch");
  {
    ScratchFile file(folder / "out");
    std::vector<float> a(1000), b = {1, 2, 3}, read(1000), few(3);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
    const int64_t at_a = file.put(a), at_b = file.put(b);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    file.get(at_b, few);
    file.get(at_a, read);
    EXPECT_EQ(few, b);
    EXPECT_EQ(read, a);
    file.replace(at_b, std::vector<float>{4, 5, 6});
    file.get(at_b, few);
    EXPECT_EQ(few, (std::vector<float>{4, 5, 6}));
    file.get(at_a, read);
    EXPECT_EQ(read, a);
    file.clear();
    EXPECT_EQ(file.put(b), 0);
    file.get(0, few);
    EXPECT_EQ(few, b);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ScratchFile, SaysWhereItCannotBeMade) {
  const TestFolder folder("scratch");
  ScratchFile file(folder / "missing" / "out");
  const std::vector<float> some(3);
  const std::string error = error_of([&] { file.put(some); });
  EXPECT_NE(error.find("missing/out"), std::string::npos) << error;
}

}  // namespace
}  // namespace watersic
