/* A driver of a machine without a device, for cuDNN to make plans with: it loads every kernel and
   refuses everything else. Nothing can be executed. */

enum { success = 0, no_device = 100 };

int cuInit(unsigned flags) {
  (void)flags;
  return success;
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return success;
}
static int refuse(void) { return no_device; }
int cuGetProcAddress_v2(const char* symbol, void** function, int version, unsigned long long flags,
                        int* status) {
  (void)symbol, (void)version, (void)flags;
  *function = (void*)refuse;
  if (status) *status = 0;
  return success;
}

int cuGetErrorName(int error, const char** text) {
  *text = error == success ? "no error" : "no device";
  return success;
}
int cuGetErrorString(int error, const char** text) { return cuGetErrorName(error, text); }

static char something;
int cuLibraryLoadData(void** library) {
  *library = &something;
  return success;
}
int cuLibraryGetKernel(void** kernel) {
  *kernel = &something;
  return success;
}
int cuLibraryUnload(void) { return success; }
int cuKernelGetAttribute(int* value) {
  *value = 0;
  return success;
}
int cuKernelSetAttribute(void) { return success; }

/* What cuDNN 9.19 looks for before it uses any of it. */
#define REFUSE(name) \
  int name(void) { return no_device; }
REFUSE(cuCtxGetCurrent)
REFUSE(cuCtxGetDevice)
REFUSE(cuCtxGetLimit)
REFUSE(cuCtxPopCurrent)
REFUSE(cuCtxPushCurrent)
REFUSE(cuDeviceGet)
REFUSE(cuDeviceGetAttribute)
REFUSE(cuDeviceGetCount)
REFUSE(cuDevicePrimaryCtxRelease)
REFUSE(cuDevicePrimaryCtxReset)
REFUSE(cuDevicePrimaryCtxRetain)
REFUSE(cuFuncGetAttribute)
REFUSE(cuFuncSetAttribute)
REFUSE(cuGetExportTable)
REFUSE(cuLaunchCooperativeKernel)
REFUSE(cuLaunchKernel)
REFUSE(cuLaunchKernelEx)
REFUSE(cuLibraryLoadFromFile)
REFUSE(cuLinkAddData)
REFUSE(cuLinkAddData_v2)
REFUSE(cuLinkAddFile_v2)
REFUSE(cuLinkComplete)
REFUSE(cuLinkCreate)
REFUSE(cuLinkCreate_v2)
REFUSE(cuLinkDestroy)
REFUSE(cuMemcpyDtoH_v2)
REFUSE(cuModuleGetFunction)
REFUSE(cuModuleGetGlobal_v2)
REFUSE(cuModuleLoadData)
REFUSE(cuModuleLoadDataEx)
REFUSE(cuModuleLoadFatBinary)
REFUSE(cuModuleUnload)
REFUSE(cuOccupancyMaxActiveBlocksPerMultiprocessor)
REFUSE(cuOccupancyMaxPotentialClusterSize)
REFUSE(cuStreamGetCtx)
REFUSE(cuStreamSynchronize)
REFUSE(cuTensorMapEncodeTiled)
